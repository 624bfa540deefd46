"""An exact compute budget: the controller, its settling, its hook."""
