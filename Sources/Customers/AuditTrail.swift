// For every file of this module and of those that import it: JSON, times and identifiers are written in one way.
@_exported import AuditTrail
