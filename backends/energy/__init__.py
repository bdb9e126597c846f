"""What meters of energy this machine has, and what they have counted. Knows no request, no model and no price.

* CPU: RAPL as the kernel's powercap files show it: all packages together, memory and the rest of the board not
  included. Where the files are readable by root alone (the kernel's default since CVE-2020-8694), there is no meter.
* NVIDIA GPU: NVML's counter of millijoules (Volta and later), else its power readings, added up over time.

A meter sees its whole device, whoever uses it. Looking for meters changes nothing: files are opened for reading, and
NVML makes no CUDA context.
"""

from backends.energy.meters import Meters, open_meters
from backends.energy.types import EnergySource, Meter

__all__ = ["EnergySource", "Meter", "Meters", "open_meters"]
