"""What a part of a config is."""


def type_name(part: dict) -> str:
    """Name of its class: the config holds it as text, with or without a scope, or the class."""
    kind = part['type']
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
