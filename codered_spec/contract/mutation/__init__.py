"""Mutation analysis: would the tests notice if the schema, or a validator, were another one.

``python -m codered_spec.contract.mutation`` prints the scores.
"""
