"""How to choose among estimates: plain arithmetic, nothing else."""
