"""The ways in which a turn of the CLI goes, a row for each: what makes it happen, and what it is to come to.

`table` has the rows; `play` plays one on the real CLI and says what was seen. They drive the tests
on the real CLI, the recordings that the fast tests play back, and the drift check.
"""
