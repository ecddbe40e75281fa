"""The version of this package, in step with the server's."""

__version__ = "0.1.0"
