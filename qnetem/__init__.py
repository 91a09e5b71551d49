"""qnetem: an emulator of quantum networks made of real processes."""

__all__ = ["__version__"]
__version__ = "0.1.0"
