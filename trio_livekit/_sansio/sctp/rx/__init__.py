"""The receiving half of an association: which TSNs arrived, and the messages they make.

``receiver`` puts them together: ``tracker`` (what a SACK says), ``reassembly`` (fragments to messages, in order).
"""
