/** The generated client against the real server that NEXTREEL_URL names, with a key that opens everything. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, explain, feedback, health, pages, recommend, recommendations, similar } from '../src/index.js';

const baseUrl = process.env.NEXTREEL_URL;
assert.ok(baseUrl, 'NEXTREEL_URL is not set. Hint: these tests are run by pytest, which starts a server');
const apiKey = process.env.NEXTREEL_API_KEY;
const client = connect({ baseUrl, apiKey });
const path = { user_id: 'person-9' };

test('a list is answered, explained and moved on by feedback', async () => {
  const { data } = await recommendations({ client, path, query: { n: 3 }, throwOnError: true });
  assert.equal(data.level, 'full');
  assert.equal(data.recommendations.length, 3);
  const first = data.recommendations[0];
  assert.ok(first);
  const why = await explain({ client, path: { ...path, video_id: String(first.video_id) }, throwOnError: true });
  assert.equal(why.data.outcome, 'shown');
  assert.equal(why.data.place, 1);
  const body = { ...path, event_type: 'hide', video_id: first.video_id, request_id: data.request_id } as const;
  const sent = await feedback({ client, body });
  assert.equal(sent.response?.status, 202);
  const after = await recommend({ client, body: path, throwOnError: true });
  assert.ok(!after.data.recommendations.some((one) => one.video_id === first.video_id));
});

test('the pages of a list have no video twice', async () => {
  const shown = [];
  for await (const page of pages(client, { ...path, num_recommendations: 40 })) {
    shown.push(...page.recommendations.map((one) => one.video_id));
  }
  assert.ok(shown.length > 40);
  assert.equal(new Set(shown).size, shown.length);
});

test('a refusal is a problem document', async () => {
  const missing = await similar({ client, path: { video_id: 'a/b' } });
  assert.equal(missing.response?.status, 404);
  assert.ok(missing.error && 'title' in missing.error);
  assert.equal(missing.error.title, 'Not Found');
  const stranger = await similar({ client: connect({ baseUrl }), path: { video_id: 'v1' } });
  assert.equal(stranger.response?.status, 401);
});

test('what is open needs no key', async () => {
  const { data } = await health({ client: connect({ baseUrl }), throwOnError: true });
  assert.equal(data.status, 'healthy');
});
