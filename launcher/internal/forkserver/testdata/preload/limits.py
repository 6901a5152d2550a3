"""Sets a resource limit from the variable LIMIT, such as "NPROC 1"."""
import os
import resource

name, most = os.environ["LIMIT"].split()
resource.setrlimit(getattr(resource, "RLIMIT_" + name), (int(most), int(most)))
