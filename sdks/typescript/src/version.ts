/** The version of this package, in step with the server's. @internal */
export const VERSION = "0.1.0";
