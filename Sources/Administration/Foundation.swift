// For every file of the module: Foundation without its internationalization, where the two are apart as on Linux.
// The latter would be half of the program.
#if canImport(FoundationEssentials)
    @_exported import FoundationEssentials
#else
    @_exported import Foundation
#endif
