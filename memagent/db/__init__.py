"""The SQLite database of a store: schema, event log, revisions of notes, leases, erasure and transfer."""
