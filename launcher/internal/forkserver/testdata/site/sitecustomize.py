"""A sitecustomize module that the user has, like the one of the template process."""
import sys

sys.site_was_here = getattr(sys, "site_was_here", 0) + 1
