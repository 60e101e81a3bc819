/** The generated operations and types, and what makes them handy: a client of one server, and the pages of a list. */

import { createClient, createConfig, type Client } from './generated/client/index.js';
import { recommend } from './generated/index.js';
import type { RecommendationsIn, RecommendationsOut } from './generated/index.js';

export * from './generated/index.js';
export type { Client };

/** A client of one server, to be given to every operation as `client`. */
export function connect({ baseUrl, apiKey }: { baseUrl: string; apiKey?: string }): Client {
  return createClient(createConfig({ baseUrl, auth: () => apiKey }));
}

/** The pages of one list without repeats, until it ends; throws the problem document of a refusal. */
export async function* pages(client: Client, wanted: RecommendationsIn): AsyncGenerator<RecommendationsOut> {
  const { user_id, session_id, num_recommendations } = wanted;
  let body: RecommendationsIn = { ...wanted, paged: true };
  for (;;) {
    const { data } = await recommend({ client, body, throwOnError: true });
    yield data;
    if (data.cursor === null) return;
    body = { user_id, session_id, num_recommendations, cursor: data.cursor };
  }
}
