"""Why a lead is as it is, explained from what the database holds.

Promises that it only reads, and that each decision is named with its reason. Imports what it reads.
"""
