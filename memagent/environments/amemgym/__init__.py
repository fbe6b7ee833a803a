"""AMemGym: users as small tables of values that change over time, and questions whose right option depends on them.

`data` holds the official file formats, `checks` what must hold in them, `convert` the way from the generator's working
files. `results` reads what an assistant answered; `parse`, `scoring`, `bounds` and `diagnosis` make numbers of it.
"""
