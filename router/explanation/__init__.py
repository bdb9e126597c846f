"""Why a decision was made, what became of it and what would have been better: from its rows, in words and as data."""
