// Written by scripts/generate.mjs. Do not edit.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
/** What the server sends and takes, as its OpenAPI document describes it. */
export interface components {
    schemas: {
        /** The answer of a call that did not wait. */
        Accepted: {
            jobId: string;
            /** @example pending */
            status: string;
            message: string;
            /** Format: int64 */
            creditsCharged: number;
            refund?: components["schemas"]["Refund"] | null;
            /** The provider's own name for the task, once it has one. */
            externalJobId?: string | null;
            input: Record<string, never>;
        };
        AssetList: {
            data: components["schemas"]["StoredAssetView"][];
            pagination: components["schemas"]["Pagination"];
        };
        /** What is known of a file. */
        AssetMetadata: {
            /**
             * Format: int64
             * In bytes.
             */
            size: number;
            /** @example image/png */
            mimeType: string;
            /** Format: int32 */
            width?: number | null;
            /** Format: int32 */
            height?: number | null;
            /** Format: int64 */
            durationMs?: number | null;
            /** Of one that was sent in: its name, cleaned. */
            filename?: string | null;
        };
        AssetView: {
            id: string;
            url: string;
            /** image, video or audio. */
            type: string;
            mimeType: string;
            /** Format: int64 */
            size: number;
            /** Format: int32 */
            width?: number | null;
            /** Format: int32 */
            height?: number | null;
            /** Format: int64 */
            durationMs?: number | null;
        };
        BotView: {
            id: string;
            /**
             * The key itself.
             * @example vydra_live_bot_…
             */
            key: string;
            /** @example vydra_live_bot... */
            keyPrefix: string;
            organizationId: string;
            agentName: string;
            billingEmail: string;
            /** Format: int64 */
            creditsRemaining: number;
            /** What can be bought. */
            packs: components["schemas"]["PackView"][];
            message: string;
        };
        ChargesView: {
            jobId: string;
            /**
             * Format: int64
             * @example 60
             */
            creditsCharged: number;
            /**
             * Format: int64
             * @example 45
             */
            creditsRefunded: number;
            /**
             * Format: int64
             * @example 15
             */
            creditsNet: number;
            /** How the price was made up when the job was created. */
            breakdown: components["schemas"]["PriceLineView"][];
            /** The prices that held then; null for a job from before prices had versions. */
            priceVersion?: string | null;
            refundRule: components["schemas"]["RefundRuleView"];
            /** The job's rows of the ledger, the newest first. */
            data: components["schemas"]["TransactionView"][];
        };
        /** The answer of a call that waited for its result. */
        Completed: components["schemas"]["Results"] & {
            jobId: string;
            /** @example completed */
            status: string;
            /** Format: int64 */
            creditsCharged: number;
            /**
             * Format: int64
             * How long the work took.
             */
            durationMs: number;
            /** Who made it: local is the built-in stand-in for a model. */
            provider?: string | null;
            /** With images: generate or edit. */
            mode?: string | null;
            refund?: components["schemas"]["Refund"] | null;
        };
        CreatedJob: {
            id: string;
            status: string;
            workflow?: string | null;
            /** Format: int64 */
            creditsCharged: number;
            createdAt: string;
            _links: components["schemas"]["Links"];
        };
        CreditsView: {
            /** Format: int64 */
            creditsRemaining: number;
            /**
             * Format: int64
             * All that was ever charged.
             */
            creditsUsed: number;
            /**
             * Format: int64
             * All that was ever paid back.
             */
            creditsRefunded: number;
        };
        /** A file that is not there any more. */
        DeletedAssetView: {
            id: string;
            deletedAt: string;
        };
        DeletedEndpoint: {
            id: string;
            deleted: boolean;
        };
        DeliveryList: {
            data: components["schemas"]["DeliveryView"][];
            pagination: components["schemas"]["Pagination"];
        };
        /** One event on its way to one address. */
        DeliveryView: {
            /** @example dlv_01jd0c3gq4t2n8r6w5x7y9z1ab */
            id: string;
            /**
             * The `webhook-id`: the same at every attempt, and for every address.
             * @example evt_01jd0c3gq4t2n8r6w5x7y9z1ab
             */
            eventId: string;
            /** @example job.completed */
            type: string;
            /** Null for an event that is not the end of a job. */
            jobId?: string | null;
            /** Null for the webhookUrl of a job. */
            endpointId?: string | null;
            /**
             * The address that it goes to.
             * @example https://example.com/hooks/vydra
             */
            destination: string;
            /**
             * pending, delivered or failed.
             * @example delivered
             */
            status: string;
            /** Format: int32 */
            attempts: number;
            /** Of a pending one. */
            nextAttemptAt?: string | null;
            lastAttemptAt?: string | null;
            /**
             * Format: int32
             * What the receiver answered to the last attempt; null when it did not.
             */
            responseStatus?: number | null;
            /** Why it has not arrived. */
            error?: string | null;
            /** Format: int64 */
            durationMs?: number | null;
            createdAt: string;
        };
        EndpointChangesBody: {
            url?: string | null;
            events?: components["schemas"]["WantedEvent"][] | null;
            /** Empty removes it. */
            description?: string | null;
            /** Whether it is told anything. Switched on again, it begins without failures. */
            enabled?: boolean | null;
        };
        EndpointList: {
            data: components["schemas"]["EndpointView"][];
        };
        /** Where the ends of jobs are told. */
        EndpointView: {
            /** @example whe_01jd0c3gq4t2n8r6w5x7y9z1ab */
            id: string;
            /** @example https://example.com/hooks/vydra */
            url: string;
            /**
             * Which events are told; `*` for all.
             * @example [
             *       "job.completed",
             *       "job.failed"
             *     ]
             */
            events: string[];
            description?: string | null;
            /**
             * enabled or disabled.
             * @example enabled
             */
            status: string;
            /** `by_owner`; gone when it answered 410; failing when nothing else happened for five days. */
            disabledReason?: string | null;
            disabledAt?: string | null;
            /** Since when no delivery has arrived, if the last one did not. */
            failingSince?: string | null;
            createdAt: string;
            updatedAt: string;
        };
        /** The one shape of every error. Fields that do not belong to an error's code are absent. */
        ErrorBody: {
            /** A sentence for a human. */
            error: string;
            /**
             * A stable word for programs.
             * @example INVALID_INPUT
             * @enum {string}
             */
            code: "INVALID_INPUT" | "INVALID_FILE_TYPE" | "FILE_TOO_LARGE" | "INVALID_URL" | "MISSING_AUTH" | "INVALID_FORMAT" | "KEY_NOT_FOUND" | "KEY_REVOKED" | "KEY_EXPIRED" | "INSUFFICIENT_CREDITS" | "INSUFFICIENT_SCOPE" | "NOT_FOUND" | "MODEL_NOT_FOUND" | "JOB_NOT_FOUND" | "METHOD_NOT_ALLOWED" | "IDEMPOTENCY_CONFLICT" | "JOB_NOT_CANCELLABLE" | "RATE_LIMIT_EXCEEDED" | "GENERATION_FAILED" | "PROCESSING_TIMEOUT" | "INTERNAL_ERROR" | "UNAVAILABLE";
            /** More about this error; what it holds depends on the code. */
            details?: Record<string, never>;
            /**
             * Format: int64
             * With `INSUFFICIENT_CREDITS`: the price.
             */
            creditsRequired?: number | null;
            /**
             * Format: int64
             * With `INSUFFICIENT_CREDITS`: the balance.
             */
            creditsRemaining?: number | null;
            /**
             * Format: int32
             * With `RATE_LIMIT_EXCEEDED` and `UNAVAILABLE`, and while an idempotency key is in use: whole seconds to wait.
             */
            retryAfter?: number | null;
            limits?: components["schemas"]["ExceededLimit"] | null;
            refund?: components["schemas"]["Refund"] | null;
            /** What to tell the operator; also in the header x-request-id. */
            requestId: string;
        };
        EventList: {
            data: components["schemas"]["EventView"][];
            /** Where to read on, whether or not there was anything; null while no job has ever ended. */
            cursor?: string | null;
            pagination: components["schemas"]["EventPagination"];
        };
        EventPagination: {
            /** Format: int32 */
            limit: number;
            /** For `after`, when there is more already; null at the end. */
            nextCursor?: string | null;
        };
        /** An event, with the id and the fields that its webhooks have. */
        EventView: {
            /**
             * The `webhook-id` of its webhooks.
             * @example evt_01jd0c3gq4t2n8r6w5x7y9z1ab
             */
            id: string;
            /**
             * job.completed, job.failed or job.cancelled.
             * @example job.completed
             */
            type: string;
            timestamp: string;
            data: components["schemas"]["JobView"];
        };
        ExceededLimit: {
            /** @example minute */
            type: string;
            /** Format: int32 */
            limit: number;
            /**
             * Format: int32
             * The refused request counted.
             */
            used: number;
        };
        /** Everything counts when it happened: jobs when they were made, ends when they ended, credits when they moved. */
        FiguresView: {
            /** Format: int64 */
            jobs: number;
            /** Format: int64 */
            completed: number;
            /** Format: int64 */
            failed: number;
            /** Format: int64 */
            cancelled: number;
            /** Format: int64 */
            creditsCharged: number;
            /** Format: int64 */
            creditsRefunded: number;
            /** Format: int64 */
            creditsNet: number;
        };
        Health: {
            /** @example ok */
            status: string;
            version: string;
        };
        JobList: {
            data: components["schemas"]["JobView"][];
            pagination: components["schemas"]["Pagination"];
        };
        /** A job, flat. What it made stands at the top and in `output`, once it is completed. */
        JobView: components["schemas"]["Results"] & {
            id: string;
            /** The same as `id`. */
            jobId: string;
            /**
             * pending, running, completed, failed or cancelled; the last three are final.
             * @example completed
             */
            status: string;
            /**
             * Format: int32
             * 0 to 100; of several steps, their mean.
             */
            progress: number;
            /** Which steps of a workflow run, such as `Step 3 of 6: frame`; null for a job of one call, and once it has ended. */
            statusMessage?: string | null;
            /** Null for a job that a call of a model made. */
            workflow?: string | null;
            workflowSlug?: string | null;
            /** Of a workflow of several steps, that of the last. */
            model: string;
            /** Who made it, once somebody does: local is the built-in stand-in for a model. */
            provider?: string | null;
            /** Format: int64 */
            creditsCharged: number;
            /** Format: int64 */
            creditsRefunded: number;
            createdAt: string;
            startedAt?: string | null;
            completedAt?: string | null;
            /** What was asked for, defaults filled in. Media stand as `asset:<id>`, which can be sent again. */
            input: Record<string, never>;
            output?: components["schemas"]["OutputView"] | null;
            /** Why there is no result, for a human. */
            error?: string | null;
            code?: string | null;
            /** Of a failed job: reason and retryable. */
            details?: Record<string, never> | null;
            refund?: components["schemas"]["Refund"] | null;
        };
        KeyList: {
            data: components["schemas"]["KeyView"][];
        };
        /** A key without its secret. */
        KeyView: {
            id: string;
            name: string;
            /**
             * How the key begins.
             * @example vydra_live_use...
             */
            keyPrefix: string;
            /**
             * live, or test for the sandbox.
             * @example live
             */
            mode: string;
            scopes: string[];
            /** Neither revoked nor expired. */
            isActive: boolean;
            expiresAt?: string | null;
            /** Up to a moment ago. */
            lastUsedAt?: string | null;
            /**
             * Format: int64
             * Up to a moment ago.
             */
            requestCount: number;
            createdAt: string;
            revokedAt?: string | null;
        };
        LimitsView: {
            /**
             * Format: int32
             * Requests a minute.
             */
            rpm: number;
            /**
             * Format: int32
             * Requests an hour.
             */
            rph: number;
            /**
             * Format: int32
             * Requests a day.
             */
            rpd: number;
            /**
             * Format: int32
             * Jobs that have not ended.
             */
            concurrent: number;
        };
        Links: {
            self: string;
            status: string;
        };
        LoggedInView: components["schemas"]["PersonView"] & {
            /** When the session ends by itself. */
            expiresAt: string;
        };
        LoggedOutView: {
            /** Always false. */
            loggedIn: boolean;
        };
        LoginBody: {
            /** @example ada@example.com */
            email: string;
            /** @example correct horse battery */
            password: string;
            /** Which of the user's organizations; the oldest membership when absent. */
            organizationId?: string | null;
        };
        MembershipView: {
            id: string;
            name: string;
            /**
             * owner or member.
             * @example owner
             */
            role: string;
        };
        ModelList: {
            data: components["schemas"]["ModelView"][];
            count: number;
        };
        ModelView: {
            slug: string;
            name: string;
            provider: string;
            modelId: string;
            /** Format: int64 */
            creditsPerUnit: number;
            pricingUnit: string;
            deployedOn: string;
            description: string;
            /** Where it is called, below /api/v1; null for a model that only workflows use. */
            endpoint?: string | null;
            /** What it makes: image, video or audio. */
            kind: string;
            /** Whether a call waits for its result: sync or async. */
            answer: string;
            /** Where the price or the result depends on the input. */
            variants: components["schemas"]["VariantView"][];
            /** The JSON Schema that requests are checked against. */
            inputSchema: Record<string, never>;
            exampleInput: Record<string, never>;
            /** Whether it can be called now. */
            isActive: boolean;
        };
        NewBotBody: {
            /**
             * What the agent calls itself: 1 to 80 characters.
             * @example scout
             */
            agent_name: string;
            /**
             * Of whoever pays.
             * @example bills@example.com
             */
            billing_email: string;
        };
        NewEndpointBody: {
            /**
             * An address on the Internet, http or https.
             * @example https://example.com/hooks/vydra
             */
            url: string;
            /**
             * Of job.completed, job.failed, job.cancelled and `webhook.endpoint_disabled`; all when absent or `*`.
             * @example [
             *       "job.completed",
             *       "job.failed"
             *     ]
             */
            events?: components["schemas"]["WantedEvent"][] | null;
            /** For people; at most 200 printable characters. */
            description?: string | null;
        };
        NewJobBody: {
            /** Which workflow to run, such as `generate_image`. */
            workflow: string;
            /** What it takes; see the list of workflows. */
            input: Record<string, never>;
            /**
             * Format: int64
             * Refuses with 402 when the job would cost more; also as the header X-Max-Credits.
             */
            maxCredits?: number | null;
            /** Where the end of the job is told, besides the webhook endpoints of the organization. */
            webhookUrl?: string | null;
        };
        NewKeyBody: {
            /**
             * What it is for: 1 to 100 printable characters.
             * @example backend
             */
            name: string;
            /**
             * What it may do; everything when absent.
             * @example [
             *       "models:*",
             *       "jobs:read"
             *     ]
             */
            scopes?: string[] | null;
            /**
             * Format: int32
             * 1 to 3650; never when absent or null.
             */
            expiresInDays?: number | null;
            /**
             * live when absent; test for the sandbox.
             * @example live
             */
            mode?: string | null;
        };
        /** A key with its secret, which is shown this once. */
        NewKeyView: {
            id: string;
            /**
             * The key itself.
             * @example vydra_live_user_…
             */
            key: string;
            /** @example vydra_live_use... */
            keyPrefix: string;
            message: string;
            name: string;
            /** @example live */
            mode: string;
            scopes: string[];
            expiresAt?: string | null;
            createdAt: string;
            replaces?: components["schemas"]["KeyView"] | null;
        };
        OrganizationView: {
            id: string;
            name: string;
            plan: string;
            /**
             * Format: int64
             * Of the key's own kind: a test key sees the sandbox's balance.
             */
            creditsRemaining: number;
            createdAt: string;
            updatedAt: string;
        };
        OutputView: {
            url: string;
            imageUrl?: string | null;
            videoUrl?: string | null;
            audioUrl?: string | null;
            assets: components["schemas"]["AssetView"][];
        };
        PackView: {
            /** @example small */
            pack: string;
            /** Format: int32 */
            priceUsd: number;
            /** Format: int32 */
            credits: number;
        };
        /** The page that was given. */
        Pagination: {
            /** Format: int32 */
            limit: number;
            /** Format: int32 */
            offset: number;
            /**
             * Format: int64
             * How many there are in all.
             */
            count: number;
            /** For `after`; null at the end. */
            nextCursor?: string | null;
        };
        /** Who is logged in, and where. */
        PersonView: {
            user: components["schemas"]["UserView"];
            organization: components["schemas"]["PlaceView"];
            /**
             * owner, or member, who can neither make and end keys nor pay.
             * @example owner
             */
            role: string;
            /** All organizations of the user: a login names one of them. */
            organizations: components["schemas"]["MembershipView"][];
        };
        PlaceView: {
            id: string;
            name: string;
            plan: string;
        };
        /** So many units at so much each. */
        PriceLineView: {
            /**
             * The model, or a workflow that has one price for all its steps.
             * @example FLUX Edit
             */
            item: string;
            /**
             * Of such a workflow, the one that makes its result.
             * @example flux-edit
             */
            model: string;
            /** @example image */
            pricingUnit: string;
            /**
             * Format: int64
             * @example 15
             */
            creditsPerUnit: number;
            /**
             * Format: int32
             * @example 2
             */
            units: number;
            /**
             * Format: int64
             * @example 30
             */
            credits: number;
        };
        /**
         * One of `model` and `workflow`, with the input of the real call.
         * @example {
         *       "model": "flux-edit/edit",
         *       "input": {
         *         "prompt": "Make it winter",
         *         "imageUrl": "https://example.com/house.png",
         *         "numImages": 2
         *       }
         *     }
         */
        QuoteBody: {
            /** A model, by its path or its slug. */
            model?: string | null;
            /** A workflow, by its slug. */
            workflow?: string | null;
            input: Record<string, never>;
        };
        QuoteView: {
            /**
             * Format: int64
             * @example 30
             */
            credits: number;
            breakdown: components["schemas"]["PriceLineView"][];
            /**
             * Changes with every price of this server, and with nothing else.
             * @example 5f0c1d2e3a4b
             */
            priceVersion: string;
            expiresAt: string;
        };
        RateLimitsView: {
            plan: string;
            limits: components["schemas"]["LimitsView"];
            usage: components["schemas"]["RequestUsageView"];
            timestamp: string;
        };
        Refund: {
            applied: boolean;
            /** Format: int64 */
            creditsRefunded: number;
        };
        /** Why a refund is what it is. */
        RefundRuleView: {
            /**
             * `not_ended`, `delivered`, `partial`, `failed`, `timed_out` or `cancelled`.
             * @example partial
             */
            rule: string;
            /** The same for a human. */
            explanation: string;
        };
        RequestUsageView: {
            minute: components["schemas"]["UsedView"];
            hour: components["schemas"]["UsedView"];
            day: components["schemas"]["UsedView"];
            concurrent: components["schemas"]["UsedView"];
        };
        /** Where the files are. Absent until the job is completed. */
        Results: {
            imageUrl?: string | null;
            /** When there are several. */
            imageUrls?: string[] | null;
            videoUrl?: string | null;
            audioUrl?: string | null;
            /** The same as `audioUrl`: clients read either. */
            audio_url?: string | null;
            resultUrls?: string[] | null;
            mimeType?: string | null;
        };
        RotationBody: {
            /**
             * Format: int32
             * How many hours the old key lives on: 0 to 168; 0 when absent.
             * @example 24
             */
            overlapHours?: number | null;
        };
        SecretRotationBody: {
            /**
             * Format: int32
             * For how many hours the old secret signs, too: 0 to 168; 24 when absent.
             * @example 24
             */
            overlapHours?: number | null;
        };
        /** With what webhooks are signed. */
        SecretView: {
            /** @example whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw */
            secret: string;
            /** Until when webhooks bear a signature of the secret before this one, too; null when there is none. */
            previousSecretUntil?: string | null;
        };
        SentTests: {
            data: components["schemas"]["DeliveryView"][];
        };
        /** A file that is kept: a job made it, or it was sent in. */
        StoredAssetView: {
            /** `asset:<id>` stands for it wherever the URL of a file is asked for. */
            id: string;
            /** image, video or audio. */
            type: string;
            /** Of the job that made it; null for one that was made by a call of a model or sent in. */
            workflow?: string | null;
            /** Readable without a key. */
            url: string;
            /**
             * A JPEG of at most 512 pixels a side, made when it is asked for first; of a video, its first picture. Null where there
             *     is none. Whoever has it can tell the `url`.
             */
            thumbnailUrl?: string | null;
            metadata: components["schemas"]["AssetMetadata"];
            /** Which job made it; null for one that was sent in. */
            jobId?: string | null;
            createdAt: string;
        };
        /** An event of the stream. Its data are JSON: of `status` and `progress` how the job stands, of `end` the whole job. */
        StreamEventView: {
            /** @example progress */
            event: string;
            /**
             * For `Last-Event-ID`.
             * @example 43
             */
            id: string;
            data: string;
        };
        TransactionList: {
            data: components["schemas"]["TransactionView"][];
            pagination: components["schemas"]["Pagination"];
        };
        TransactionView: {
            id: string;
            /**
             * grant, purchase, charge, refund or adjustment.
             * @example charge
             */
            type: string;
            /**
             * Format: int64
             * Signed: what was taken is below zero.
             * @example -15
             */
            amount: number;
            /**
             * Format: int64
             * @example 985
             */
            balanceAfter: number;
            jobId?: string | null;
            /** @example flux-edit */
            reason: string;
            createdAt: string;
        };
        UploadBody: {
            /**
             * Format: binary
             * By what its bytes are: a jpeg, png, webp or gif of at most 20 MiB, 8,192 pixels a side and 40 megapixels; with
             *     `type=video` an mp4, webm or mov of at most 100 MiB; with `type=audio` an mp3, wav, flac, ogg, m4a or aac of at most
             *     50 MiB.
             */
            file: string;
        };
        UploadView: {
            /** Readable without a key. To be given wherever the URL of such a file is asked for. */
            url: string;
            /**
             * The name that the file had, cleaned, with the ending of its true type.
             * @example lake.png
             */
            filename: string;
            /**
             * Format: int64
             * In bytes.
             */
            size: number;
            /**
             * The true media type.
             * @example image/png
             */
            type: string;
            /** Can be given in place of the url. */
            key: string;
        };
        UsageRowView: components["schemas"]["FiguresView"] & {
            /**
             * With by=day.
             * @example 2026-03-01
             */
            day?: string | null;
            /** With by=model. */
            model?: string | null;
            /** With by=key; null for jobs that a person started. */
            keyId?: string | null;
            /** The key's name, as long as there is one. */
            keyName?: string | null;
        };
        UsageView: {
            from: string;
            to: string;
            /** @example day */
            by: string;
            /** One row for each day, model or key of which there is something to tell. */
            data: components["schemas"]["UsageRowView"][];
            totals: components["schemas"]["FiguresView"];
        };
        UsedView: {
            /**
             * Format: int32
             * More than the limit after a change to a smaller plan.
             */
            used: number;
            /** Format: int32 */
            limit: number;
        };
        UserView: {
            id: string;
            email: string;
            createdAt: string;
        };
        VariantView: {
            /** The values of fields that choose it. */
            when: Record<string, never>;
            kind: string;
            answer: string;
            /** Format: int64 */
            creditsPerUnit: number;
            pricingUnit: string;
        };
        /**
         * What an endpoint can ask for.
         * @enum {string}
         */
        WantedEvent: "*" | "job.completed" | "job.failed" | "job.cancelled" | "webhook.endpoint_disabled";
        WebhookTestBody: {
            /** Which endpoint; all that are enabled when absent. */
            endpointId?: string | null;
        };
        /** What each model takes, by its path. */
        ModelInputs: {
            "gemini/generate": {
                /** What to show. */
                prompt: string;
                /**
                 * Width to height.
                 * @default 1:1
                 * @enum {string|null}
                 */
                aspectRatio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
            };
            "gemini/edit": {
                /** The image to start from. */
                imageUrl: string;
                /** What to change. */
                prompt: string;
                /**
                 * Width to height; the image's own when absent.
                 * @enum {string|null}
                 */
                aspectRatio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
            };
            "nano-banana/edit": {
                /** What to show, or what to change. */
                prompt: string;
                /** The image to start from. */
                imageUrl?: string | null;
                /**
                 * Width to height.
                 * @default 1:1
                 * @enum {string|null}
                 */
                aspectRatio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
            };
            "flux-edit/edit": {
                /** What to change. */
                prompt: string;
                /** The image to start from. */
                imageUrl: string;
                /** Further images to draw upon. */
                imageUrls?: string[] | null;
                /**
                 * About 1,024, 2,048 or 4,096 pixels on the long side.
                 * @default 2K
                 * @enum {string|null}
                 */
                resolution?: "1K" | "2K" | "4K" | null;
                /**
                 * How many results; each is paid.
                 * @default 1
                 */
                numImages?: number | null;
                /**
                 * Width to height; the image's own when absent.
                 * @enum {string|null}
                 */
                aspectRatio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
                /**
                 * The file's format.
                 * @default png
                 * @enum {string|null}
                 */
                outputFormat?: "png" | "jpeg" | null;
                /**
                 * How closely to follow the text.
                 * @default 2.5
                 */
                guidanceScale?: number | null;
                /**
                 * More steps, finer and slower.
                 * @default 28
                 */
                numInferenceSteps?: number | null;
                /** The same seed and input give the same image. */
                seed?: number | null;
            };
            "grok-imagine": {
                /** What to show. */
                prompt: string;
                /**
                 * What to make; an image costs less.
                 * @default text-to-video
                 * @enum {string|null}
                 */
                model?: "text-to-video" | "text-to-image" | "image-to-video" | null;
                /** The image that the video starts from. */
                image_url?: string | null;
                /**
                 * Width to height.
                 * @enum {string|null}
                 */
                aspect_ratio?: "16:9" | "9:16" | "4:3" | "3:4" | "1:1" | "3:2" | "2:3" | null;
                /** Seconds of video. */
                duration?: number | null;
            } & unknown;
            veo3: {
                /** What to show. */
                prompt: string;
                /** The image that the video starts from. */
                image_url?: string | null;
                /** Further images to draw upon. */
                image_urls?: string[] | null;
                /**
                 * Width to height.
                 * @default 16:9
                 * @enum {string|null}
                 */
                aspect_ratio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
                /** Seconds of video. */
                duration?: number | null;
            };
            kling: {
                /** What happens. */
                prompt: string;
                /** The character. */
                image_url: string;
                /** The motion to copy. */
                video_url?: string | null;
                /**
                 * Whose orientation the character takes.
                 * @default video
                 * @enum {string|null}
                 */
                character_orientation?: "video" | "image" | null;
                /**
                 * Whether the motion video's sound is kept.
                 * @default true
                 */
                keep_original_sound?: boolean | null;
            };
            "elevenlabs/tts": {
                /** What to say. */
                text: string;
                /** Whose voice. */
                voice_id?: string | null;
            };
        };
        /** What each workflow takes, by its name. */
        WorkflowInputs: {
            generate_image: {
                /** What to show. */
                prompt: string;
                /**
                 * Which model; each has its price.
                 * @default gemini-image
                 * @enum {string|null}
                 */
                model?: "gemini-image" | "grok-imagine" | null;
                /**
                 * Width to height.
                 * @default 1:1
                 * @enum {string|null}
                 */
                aspect_ratio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
            } & unknown;
            generate_video: {
                /** What to show. */
                prompt: string;
                /**
                 * Which model; each has its price.
                 * @default veo3
                 * @enum {string|null}
                 */
                model?: "veo3" | "kling-3.1" | "seedance" | "seedance-2" | "grok-imagine" | null;
                /**
                 * Width to height.
                 * @default 16:9
                 * @enum {string|null}
                 */
                aspect_ratio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
                /** The image that the video starts from. */
                image_url?: string | null;
                /** Further images to draw upon. */
                image_urls?: string[] | null;
                /** Seconds of video. */
                duration?: number | null;
            } & unknown;
            edit_image: {
                /** The image to start from. */
                imageUrl: string;
                /** What to change. */
                prompt: string;
                /**
                 * Which model.
                 * @default gemini-edit
                 * @enum {string|null}
                 */
                model?: "gemini-edit" | null;
                /**
                 * Width to height; the image's own when absent.
                 * @enum {string|null}
                 */
                aspectRatio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
            };
            swap_character: {
                /** The character. */
                sourceImageUrl: string;
                /** The scene that the character is put into. */
                targetImageUrl: string;
                /** What else to mind. */
                prompt?: string | null;
            };
            transfer_motion: {
                /** The character. */
                imageUrl: string;
                /** The motion to copy. */
                motionVideoUrl: string;
                /** What else to mind. */
                prompt?: string | null;
            };
            lipsync_video: {
                /** The video to change; or give imageUrl. */
                videoUrl?: string | null;
                /** The image to animate; or give videoUrl. */
                imageUrl?: string | null;
                /** What is said. */
                audioUrl: string;
            } | {
                videoUrl: unknown;
            } | {
                imageUrl: unknown;
            };
            "house-timelapse": {
                /**
                 * Which house, in a few words.
                 * @default a modern family house
                 */
                theme?: string | null;
                /**
                 * Width to height.
                 * @default 16:9
                 * @enum {string|null}
                 */
                aspect_ratio?: "1:1" | "2:3" | "3:2" | "3:4" | "4:3" | "4:5" | "5:4" | "9:16" | "16:9" | "21:9" | null;
                /**
                 * How long each stage is shown, with the fade to the next.
                 * @default 2
                 */
                seconds?: number | null;
            } | null;
            "renovation-timelapse": {
                /** The place as it is now; without it, one is made up. */
                imageUrl?: string | null;
                /** What it becomes, in a few words. */
                theme?: string | null;
                /**
                 * How long each stage is shown, with the fade to the next.
                 * @default 2
                 */
                seconds?: number | null;
            } | {
                imageUrl: unknown;
            } | {
                theme: unknown;
            };
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
