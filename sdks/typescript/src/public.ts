export { CATALOGUE } from "./catalogue.js";
export * from "./errors.js";
export type { components } from "./openapi.js";
export type * from "./types.js";
export type { Clock, Hooks, RequestInfo, ResponseInfo, RetryInfo } from "./transport.js";
export type { List, Page } from "./list.js";
export type { WebhookBody, WebhookEvent, WebhookHeaders, VerifyOptions } from "./webhooks.js";
