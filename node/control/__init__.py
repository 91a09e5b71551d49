"""node.control: loops that keep a link at work, monitors that watch over it."""
