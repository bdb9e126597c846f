"""A configuration of fakes and a suite of them, as somebody would write them."""

CONFIG = """\
[[models]]
id = "test/chat"
task = "text-generation"
candidates = [
    { backend = "fake", provider = "quick", price = { per_request_usd = 0.001 } },
    { backend = "fake", provider = "slow", price = { per_request_usd = 0.001 }, script = { latency_ms = 100 } },
]
"""
SUITE = """\
name = "fakes"
task = "text-generation"
repeats = 4
warm_up = 1
metric = "exact_match"
inputs = [{{ input = "one", expected = "1" }}, {{ input = "two", expected = "2" }}]
{0}
[[candidates]]
name = "quick"
model = "test/chat"
provider = "quick"
[[candidates]]
name = "slow"
model = "test/chat"
provider = "slow"
[[candidates]]
name = "nobody"
model = "test/chat"
provider = "nobody"
required = false
"""
PLANNED = 2 * (1 + 4 * 2)
