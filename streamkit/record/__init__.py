"""Values: what a record, a row and a batch of records are.

`model.py` has the public values (Model, Row, Record), `schema.py` the fields and types of a row type, `batch.py` the
batch that operators hand on, with its two views of the same records: rows and columns.
May import: errors. Start reading at `batch.py`.
"""
