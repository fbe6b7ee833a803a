"""AMemGym: users as small tables of values that change over time, and questions whose right option depends on them.

`data` holds the environment file and `validate` what must hold in it; `generate` makes users. `assistants` live with them,
`official_format` keeps what they answered, and `scoring` makes numbers of it; `run` is the bench of all of that.
"""
