"""Pictures of what a network learned, computed from logs, checkpoints and operators."""
