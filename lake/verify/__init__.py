"""Is the lake what it says it is? Every file, every range, every sum; and what to do about it.

`survey` looks and changes nothing; `repair` moves what is damaged aside, brings back what is still there, and notes
what is lost. Derived tables are only looked at: whatever is wrong with them is computed anew.
"""
