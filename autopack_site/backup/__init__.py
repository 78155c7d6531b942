"""One file that holds a whole system, taken while runs go on, and the way back from it.

The database is dumped first, in one snapshot; mirrors and logs are copied after it. That order is what makes the
copy sound, because a commit is in the mirror before any row names it: a candidate is kept under its ref and then
recorded, an intent names a candidate that is kept already, a branch is moved and then the move is marked, a base
is fetched and then written into the run. So whatever the snapshot names was in the mirror when the snapshot was
taken, and no commit ever leaves a mirror: refs may be taken back, objects stay. The other way round a row of the
dump could name a commit that came after the mirror was copied.

The price is that the mirror may be ahead: refs of candidates, branches and tags that the snapshot does not know.
A run that went on from the snapshot would meet them as moves by somebody else and fail its phase. So the
restore takes the refs of each mirror back to what the database says (`integration.alignment`). What was under
way is then an ordinary crash: leases run out, open intents are carried out, the outbox is sent again.
"""

from __future__ import annotations
