"""The sending half of an association: what is queued, what is under way, and how fast it may go.

``sender`` puts them together: ``send_queue`` (whose turn it is), ``outstanding`` (what is not acknowledged), ``loss``
and ``rto`` (what is not going to be), ``congestion`` and ``pacer`` (how fast), ``window_probe``.
"""
