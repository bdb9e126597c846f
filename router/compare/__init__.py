"""The same inputs on several candidates, side by side: what is compared, the run, and what it says."""
