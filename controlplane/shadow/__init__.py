"""The control plane told by lines what there is: by another simulator, or beside the one that really scales.

`line` reads a line, `members` remembers since when servers are ready, `readers` read their pages, `session` judges and
decides by the tick that also runs in production, `answer` tells what was decided.
"""
