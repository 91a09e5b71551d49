"""quantum_channel: the process that stands for nature on quantum links.

Pure: `parameters` (what a link is) becomes `conditions` (what nature is like: `fibre`, `source`, `detector`, `timing`),
these the tables of `response`, from which `sampler` and its compiled twin draw clicks; `link` is the state of one link,
`train` what passes on it. Edge: `nature` lets trains pass in time, `delivery` hands clicks over, `service` and `client`
speak to the ends of links and to operators.
"""
