"""Pure time: durations, windows, watermarks, and how watermarks of several inputs combine. No I/O, no clock.

`windows.py` has the windows and what a record's windows are, `watermark.py` the watermark of one source partition,
`inputs.py` the time of a task with several inputs. May import: errors, record. Start reading at `watermark.py`.
"""
