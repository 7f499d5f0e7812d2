"""Algorithms that combine with any method; any number of them (`conf/plugin`). The class is `methods.base.Method`."""
