"""What the API says of itself: every operation's bodies, answers, errors and examples, checked by tests to be true.

Litestar reads paths, parameters and summaries off the handlers. What it cannot read is in the tables here, one entry an
operation (`"GET /v1/models"`), and shapes are drawn by msgspec, which is also who reads and writes the bodies: the
document cannot promise another bound than is enforced. Nothing here is asked when a request is answered.
"""
