"""Everything between a question and an answer that costs money.

Promises that no question is paid for twice, that every call is counted before it is made, and that a
vendor's answer is kept before it is used. Imports limits, providers and mongo.
"""
