"""classical_channel: the process that carries classical links.

`path` says what holds on a link and what befalls bytes on it (the one place where faults apply), `delay` keeps bytes
under way, `proxy` moves them between sockets, `service` answers operators, `client` asks.
"""
