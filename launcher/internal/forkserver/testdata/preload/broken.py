def deep():
    raise ValueError("two\nlines")


deep()
