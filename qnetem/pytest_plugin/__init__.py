"""qnetem.pytest_plugin: testbeds as pytest fixtures; pytest finds `hooks` by its entry point."""

__all__: list[str] = []
