"""Another hook of the kind that the template uses."""
import sys

sys.site_was_here = getattr(sys, "site_was_here", 0) + 1
