"""HEALTHCHECK of the image: asks the daemon beside it whether its event loop still turns.

It asks `/livez` and not `/readyz`: what is restarted for being unhealthy must not be restarted because
MongoDB is away. Only the standard library, because it is started every few seconds.
"""

import http.client
import os
import sys

SECONDS = 3


def main() -> int:
    port = int(os.environ.get("ENRICHER_HTTP_PORT") or 9464)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/livez")
        reply = connection.getresponse()
        print(reply.read().decode())
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer at port {port}: {error}")
        return 1
    return 0 if reply.status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main())
