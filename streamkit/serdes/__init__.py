"""Codecs between bytes on the wire and rows, keys and columns.

`serde.py` has the protocols. Values: `json.py` (typed and untyped; rows straight from columns in `json_columns.py`, cut-down row
types in `projection.py`, datetimes in `utc.py`) and `scalars.py`. Keys: `keys.py` chooses among `text_keys.py`, `json_keys.py`
and `dynamic_key.py`. `avro.py` has Avro, `avro_columns.py` its blocks. May import: errors, config, record. Start reading at
`serde.py`.
"""
