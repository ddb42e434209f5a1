"""Physical operators: what a task does with a batch, one operator a file.

`operator.py` has the base and the two things an operator asks of its surroundings, `chain.py` builds the operators of a
sub-topology, `source.py` makes batches out of fetched records. `evaluate.py` runs expressions on columns and `rows.py`
functions on rows; both find the one record that fails. May import: everything below, plan included. Start reading at
`operator.py`.
"""
