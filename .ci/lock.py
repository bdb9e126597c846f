"""Print a constraints file: every distribution of this environment, ours and the installers excepted."""

import re
from importlib import metadata

OURS = {"nearfar", "pip", "setuptools", "wheel", "uv"}

found = {re.sub(r"[-_.]+", "-", dist.name).lower(): dist.version.partition("+")[0] for dist in metadata.distributions()}
print("# Every version the tests passed with. Regenerate with `make lock`.")
for name, version in sorted(found.items()):
    if name not in OURS:
        print(f"{name}=={version}")
