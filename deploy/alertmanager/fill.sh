#!/bin/sh
# Prints alertmanager.yml with your addresses in the place of the examples:
#
#   ALERTS_PAGE_URL=https://... ALERTS_TICKET_URL=https://... ALERTS_NOTE_URL=https://... \
#     sh fill.sh > /etc/prometheus/alertmanager.yml
#
# An address is often a secret: ALERTS_PAGE_URL_FILE and its like name a file with it in the first line. It never becomes
# an argument of a program, which everybody on the machine could read. Whatever is not given keeps the example's address,
# and Alertmanager logs that it cannot deliver.
set -eu

given() {
  eval "url=\${ALERTS_$1_URL:-} file=\${ALERTS_$1_URL_FILE:-}"
  if [ -z "$url" ] && [ -n "$file" ]; then
    IFS= read -r url < "$file" || [ -n "$url" ]
  fi
  printf '%s' "$url"
}

# For a text in single quotes in YAML, in a replacement of sed.
quoted() {
  printf '%s\n' "$1" | sed "s/'/''/g; s/[\\\\&|]/\\\\&/g"
}

replacements() {
  for name in page ticket note; do
    url=$(given "$(printf '%s' "$name" | tr '[:lower:]' '[:upper:]')")
    if [ -n "$url" ]; then
      printf 's|https://alerts.example.com/%s|%s|\n' "$name" "$(quoted "$url")"
    else
      echo "fill.sh: no address for $name: its alerts reach nobody" >&2
    fi
  done
}

script=$(replacements)
printf '%s\n' "$script" | sed -f /dev/stdin "$(dirname "$0")/alertmanager.yml"
