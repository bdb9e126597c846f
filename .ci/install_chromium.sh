#!/bin/sh
# See that there is a Chromium for the tests of the pages: the system's, the distribution's package, or Playwright's own.
set -eu
python=$1
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core && exit 0
fi
"$python" -m playwright install --only-shell chromium ||
    echo 'No Chromium could be had: the tests of the pages are skipped. Install one and run this again.' >&2
