"""The built-in picture model: shapes drawn by our own code, a small diffusion model trained on them, its measure."""
