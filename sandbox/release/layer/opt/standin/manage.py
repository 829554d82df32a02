"""What `python manage.py` finds in the stand-in's nexus."""

import runpy

runpy.run_module("standin.manage", run_name="__main__", alter_sys=True)
