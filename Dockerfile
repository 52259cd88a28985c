# The daemon and what it runs on: no compiler, no pip in its environment, and the privileges of nobody.
#
#   docker build --tag enricher .
#   docker run --read-only --cap-drop ALL --env-file enricher.env --publish 127.0.0.1:9464:9464 enricher
#
# BASE is any image of Debian 12 or later with python3 (3.11 or later) and its venv module. Pin it by digest where you
# build for production.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY deploy/constraints.txt deploy/build-constraints.txt ./
# What is installed is what the hashes say. The environment of the image has no pip of its own: one beside it fills it.
RUN python3 -m venv /build/tools \
 && python3 -m venv --without-pip /opt/enricher \
 && /build/tools/bin/python -m pip install --require-hashes --only-binary :all: -r build-constraints.txt \
 && /build/tools/bin/python -m pip --python /opt/enricher/bin/python install \
      --require-hashes --only-binary :all: -r constraints.txt
COPY pyproject.toml README.md LICENSE ./
COPY enricher enricher
RUN /build/tools/bin/python -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir wheels . \
 && /build/tools/bin/python -m pip --python /opt/enricher/bin/python install --no-deps --no-index wheels/*.whl
COPY deploy/healthcheck.py /opt/enricher/healthcheck.py

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="enricher" \
      org.opencontainers.image.description="Enriches every lead inserted into a MongoDB collection" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/enricher /opt/enricher
# Published ports reach only what listens on every address of the container.
ENV PATH="/opt/enricher/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    ENRICHER_HTTP_HOST=0.0.0.0 \
    ENRICHER_HTTP_PORT=9464
WORKDIR /opt/enricher
USER 65532:65532
EXPOSE 9464
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/opt/enricher/bin/python", "-I", "/opt/enricher/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/enricher/bin/enricher"]
CMD ["run"]
