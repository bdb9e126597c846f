"""Local models as Ray Serve deployments, called by a router that stays outside Ray."""
