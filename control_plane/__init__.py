"""control_plane: the reference controller: who is there, how links stand, which paths keys take."""

__all__: list[str] = []
