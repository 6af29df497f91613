"""JSON values, ids, versions and the Op record: the words that every other layer speaks."""
